"""Owns AdminService as methods of (request, call): translation, and nothing else. Leaves rules to the core."""

from authsvc.core.users import NewUser
from authsvc.rpc import audit_requests, client_requests, convert, requests
from authsvc.rpc.call import Call
from authsvc.rpc.services import Services
from authsvc.v1 import admin_service_pb2 as pb


class AdminServicer:
    """AdminService. Each method's promise is in the proto."""

    def __init__(self, services: Services) -> None:
        self._users = services.users
        self._second_factors = services.second_factors
        self._clients = services.clients
        self._signing_keys = services.signing_keys
        self._explain = services.explain
        self._audit_events = services.audit_events

    async def CreateUser(self, request: pb.CreateUserRequest, call: Call) -> pb.CreateUserResponse:
        requests.check_create_user(request)
        new = NewUser(request.username, request.password, request.scopes, request.password_hash)
        return pb.CreateUserResponse(user=convert.user_message(await self._users.create(new, call.asked)))

    async def GetUser(self, request: pb.GetUserRequest, call: Call) -> pb.GetUserResponse:
        user = await self._users.get(
            requests.plain("user_id", request.user_id), requests.plain("username", request.username)
        )
        return pb.GetUserResponse(user=convert.user_message(user))

    async def ListUsers(self, request: pb.ListUsersRequest, call: Call) -> pb.ListUsersResponse:
        users, following = await self._users.list(request.page_size, request.page_token)
        return pb.ListUsersResponse(users=map(convert.user_message, users), next_page_token=following)

    async def SetPassword(self, request: pb.SetPasswordRequest, call: Call) -> pb.SetPasswordResponse:
        user_id = requests.named("user_id", request.user_id)
        revoked = await self._users.set_password(user_id, request.password, call.asked, request.password_hash)
        return pb.SetPasswordResponse(revision=revoked.revision, revoked_count=len(revoked.entries))

    async def DisableUser(self, request: pb.DisableUserRequest, call: Call) -> pb.DisableUserResponse:
        user, revoked = await self._users.disable(requests.named("user_id", request.user_id), call.asked)
        return pb.DisableUserResponse(
            user=convert.user_message(user), revision=revoked.revision, revoked_count=len(revoked.entries)
        )

    async def EnableUser(self, request: pb.EnableUserRequest, call: Call) -> pb.EnableUserResponse:
        user = await self._users.enable(requests.named("user_id", request.user_id), call.asked)
        return pb.EnableUserResponse(user=convert.user_message(user))

    async def SetScopes(self, request: pb.SetScopesRequest, call: Call) -> pb.SetScopesResponse:
        user_id = requests.named("user_id", request.user_id)
        user, revoked = await self._users.set_scopes(user_id, request.scopes, call.asked)
        return pb.SetScopesResponse(
            user=convert.user_message(user), revision=revoked.revision, revoked_count=len(revoked.entries)
        )

    async def ResetSecondFactor(
        self, request: pb.ResetSecondFactorRequest, call: Call
    ) -> pb.ResetSecondFactorResponse:
        user_id = requests.named("user_id", request.user_id)
        return pb.ResetSecondFactorResponse(
            had_second_factor=await self._second_factors.reset(user_id, call.asked)
        )

    async def CreateClient(self, request: pb.CreateClientRequest, call: Call) -> pb.CreateClientResponse:
        client, key = await self._clients.create(client_requests.new_client(request), call.asked)
        return pb.CreateClientResponse(client=convert.client_message(client), client_key=key)

    async def UpdateClient(self, request: pb.UpdateClientRequest, call: Call) -> pb.UpdateClientResponse:
        new = client_requests.changed_client(request)
        client = await self._clients.update(new, request.update_mask.paths, call.asked)
        return pb.UpdateClientResponse(client=convert.client_message(client))

    async def ListClients(self, request: pb.ListClientsRequest, call: Call) -> pb.ListClientsResponse:
        clients, following = await self._clients.list(request.page_size, request.page_token)
        return pb.ListClientsResponse(clients=map(convert.client_message, clients), next_page_token=following)

    async def RotateClientKey(
        self, request: pb.RotateClientKeyRequest, call: Call
    ) -> pb.RotateClientKeyResponse:
        client_id = requests.named("client_id", request.client_id)
        key = await self._clients.rotate_key(client_id, request.overlap_seconds, call.asked)
        return pb.RotateClientKeyResponse(client_key=key)

    async def RevokeClient(self, request: pb.RevokeClientRequest, call: Call) -> pb.RevokeClientResponse:
        client = await self._clients.revoke(requests.named("client_id", request.client_id), call.asked)
        return pb.RevokeClientResponse(client=convert.client_message(client))

    async def ListSigningKeys(
        self, request: pb.ListSigningKeysRequest, call: Call
    ) -> pb.ListSigningKeysResponse:
        keys = await self._signing_keys.list()
        return pb.ListSigningKeysResponse(keys=map(convert.signing_key, keys))

    async def RotateSigningKey(
        self, request: pb.RotateSigningKeyRequest, call: Call
    ) -> pb.RotateSigningKeyResponse:
        key = await self._signing_keys.rotate(call.asked)
        return pb.RotateSigningKeyResponse(key=convert.signing_key(key))

    async def TaintSigningKey(
        self, request: pb.TaintSigningKeyRequest, call: Call
    ) -> pb.TaintSigningKeyResponse:
        key_id = requests.named("key_id", request.key_id)
        comment = requests.plain("comment", request.comment)
        return pb.TaintSigningKeyResponse(
            revision=await self._signing_keys.taint(key_id, comment, call.asked)
        )

    async def ListAuditEvents(
        self, request: pb.ListAuditEventsRequest, call: Call
    ) -> pb.ListAuditEventsResponse:
        wanted = audit_requests.event_filter(request)
        if request.HasField("after_id"):
            page = await self._audit_events.follow(wanted, request.page_size, request.after_id)
        else:
            page = await self._audit_events.list(wanted, request.page_size, request.page_token)
        return audit_requests.events_response(page)

    async def ExplainToken(self, request: pb.ExplainTokenRequest, call: Call) -> pb.ExplainTokenResponse:
        token = requests.explained(request)
        found = await self._explain.explain(token, request.audience, requests.verifier_at(request))
        return convert.explain_response(found)

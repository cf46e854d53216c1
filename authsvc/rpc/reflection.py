"""Owns server reflection, for development. The v1alpha servicer of grpcio answers v1 too: the messages are the same."""

from typing import Any

import grpc
import grpc.aio
from grpc_reflection.v1alpha import reflection
from grpc_reflection.v1alpha import reflection_pb2 as pb

from authsvc.rpc import health
from authsvc.rpc.policy import SERVICES

SERVICE_V1 = "grpc.reflection.v1.ServerReflection"


def add_to(server: grpc.aio.Server) -> None:
    """Let tools such as grpcurl ask what this server offers."""
    ours = [service.full_name for service in SERVICES]
    names = (*ours, health.SERVICE, reflection.SERVICE_NAME, SERVICE_V1)
    reflection.enable_server_reflection(names, server)
    servicer = reflection.aio.ReflectionServicer(names)
    info = grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        pb.ServerReflectionRequest.FromString,
        pb.ServerReflectionResponse.SerializeToString,
    )
    handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {"ServerReflectionInfo": info}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE_V1, handlers),))

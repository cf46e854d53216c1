"""Guarding web applications the way gRPC servers are guarded. Each room loads its framework when it is imported.

- `asgi`      `AuthMiddleware` for any ASGI application: Starlette, FastAPI, Litestar, Quart; needs no framework
- `fastapi`   dependencies: `current_principal`, `require_scopes`
- `django`    `auth_middleware`, for sync and async Django
- `saying`    what an HTTP request says: a bearer in the header or in the cookie, and from where it was sent
- `paths`     `PathRules`: a rule for each path
- `answers`   how a request is refused over HTTP (RFC 6750)
"""

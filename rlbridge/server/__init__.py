"""The server: it owns environments and serves them in sessions. Never imports torch, nor the client.

``serve`` starts one in this process; ``Host`` is all that a transport knows of it.
"""

from rlbridge.server.auth import Scope, ServerTls, Tokens
from rlbridge.server.host import Host
from rlbridge.server.limits import ServerLimits
from rlbridge.server.serve import Server, serve

__all__ = ["Host", "Scope", "Server", "ServerLimits", "ServerTls", "Tokens", "serve"]

"""A stand-in Kong for laptops and CI: a preview and test tool, never for production.

Proxy, Admin API (DB-less) and plugin runner in one asyncio process: Lua plugins run unmodified in LuaJIT,
external plugins are spoken to over their real MessagePack-RPC sockets. What it does was recorded on Kong
3.9.3; a difference is a bug of the sandbox.
"""

"""The front server's side: verify the gateway's passport. Needs PyJWT only, and nothing else of kgate."""

from kong_plugins.verify.passport import Passport, PassportError, PassportKeys, verify_passport

__all__ = ["Passport", "PassportError", "PassportKeys", "verify_passport"]

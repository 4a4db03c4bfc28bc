"""The front server's side: verify the gateway's passport. Needs PyJWT only, and nothing else of kgate.

pip install --no-deps kgate && pip install 'pyjwt[crypto]' is enough.
"""

from kong_plugins.verify.jwks import JwksSource
from kong_plugins.verify.passport import Passport, PassportError, PassportKeys, verify_passport

__all__ = ["JwksSource", "Passport", "PassportError", "PassportKeys", "verify_passport"]

"""The front server's side alone: PyJWT and cryptography are all that it may need."""

from __future__ import annotations

import json
import subprocess
import sys

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

SCRIPT = """
import importlib.abc, json, sys

class Blocker(importlib.abc.MetaPathFinder):
    # what a front server has not installed
    def find_spec(self, name, path, target=None):
        first = name.partition(".")[0]
        if first in sys.stdlib_module_names or first in ("jwt", "cryptography", "_cffi_backend", "cffi"):
            return None
        if name == "kong_plugins" or name.startswith("kong_plugins.verify"):
            return None
        raise ImportError(f"not installed: {name}")

sys.meta_path.insert(0, Blocker())
try:
    import redis
    raise SystemExit("the blocker does not block")
except ImportError:
    pass
import kong_plugins.verify.asgi, kong_plugins.verify.wsgi
from kong_plugins.verify import JwksSource, PassportKeys, verify_passport
given = json.load(sys.stdin)
found = verify_passport(given["passport"], given["jwks"], "kgate", now=1000)
loaded = {name.partition(".")[0] for name in sys.modules}
print(found.subject, sorted(loaded & {"redis", "yaml", "kong_pdk", "click"}))
"""


def test_it_needs_pyjwt_alone() -> None:
    key = Ed25519PrivateKey.generate()
    claims = {"iss": "kgate", "aud": "kgate", "iat": 1000, "exp": 1060, "txn": "r", "sub": "alice"}
    claims |= {"sub_iss": "https://a", "authn_level": "full"}
    header = {"kid": "k", "typ": "kgate-passport+jwt"}
    given = {
        "passport": jwt.encode(claims, key, "EdDSA", headers=header),
        "jwks": {"keys": [jwt.algorithms.OKPAlgorithm.to_jwk(key.public_key(), as_dict=True) | {"kid": "k"}]},
    }
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], input=json.dumps(given), capture_output=True, text=True, timeout=60
    )
    assert (done.stdout.strip(), done.returncode) == ("alice []", 0), done.stderr

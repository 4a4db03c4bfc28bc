"""A key-auth credential without a name, where a consumer has several.

The id of a credential must not be made of its key, so without a `name` (a field of kgate's, Kong does not
see it) or an `id` it is made of its place in the list: take the first away and the second gets its id.

Why: DB-less Kong 3.9.3 draws a new random id for each credential at every push; rate-limiting counts by
credential id.

PASS:
    consumers:
    - username: shop
      keyauth_credentials: [{name: old, key: !env A}, {name: new, key: !env B}]

FAIL:
    consumers:
    - username: shop
      keyauth_credentials: [{name: old, key: !env A}, {key: !env B}]
"""

from __future__ import annotations

from collections.abc import Iterator

from decl.findings import WARNING, Level
from decl.lint.hit import Hit
from decl.lint.view import View

ID = "unnamed-credential"
LEVEL: Level = WARNING


def check(view: View) -> Iterator[Hit]:
    """Credentials that have only their place."""
    for consumer in view.gateway.consumers:
        keys = [item for item in consumer.credentials if item.kind == "keyauth_credentials"]
        for credential in keys if len(keys) > 1 else ():
            if credential.key.startswith("#") and "id" not in credential.fields:
                yield Hit(credential.path, "a key among several without a name: its id is its place; name it")

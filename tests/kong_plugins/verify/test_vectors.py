"""docs/passport-vectors.json says what the code does; so does another library."""

import json
from pathlib import Path

import pytest
from joserfc import jws
from joserfc.jwk import KeySet

from kong_plugins.verify import PassportError, verify_passport
from tests.kong_plugins.verify.make_vectors import build, claims_of

FILE = json.loads((Path(__file__).parents[3] / "docs" / "passport-vectors.json").read_text("utf-8"))
VECTORS = FILE["vectors"]


def check(vector, jwks):
    options = {name: vector[name] for name in ("issuer", "leeway", "now", "profile")}
    try:
        found = verify_passport(vector["passport"], jwks, vector["audience"], **options)
    except PassportError as error:
        return error.reason
    return {name: found.claims[name] for name in vector["claims"]}


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_vector(vector):
    assert check(vector, FILE["jwks"]) == (vector["claims"] if vector["valid"] else vector["reason"])


@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")
@pytest.mark.parametrize(
    "vector", [each for each in VECTORS if each["valid"]], ids=lambda vector: vector["name"]
)
def test_another_library_reads_it(vector):
    keys = KeySet.import_key_set(FILE["jwks"])
    found = jws.deserialize_compact(vector["passport"], keys, algorithms=["EdDSA", "ES256", "RS256", "HS256"])
    assert json.loads(found.payload) == vector["claims"]


def test_the_file_is_what_the_code_would_write_now():
    """But for keys and signatures, which are new each time."""
    now = build()

    def shape(each):
        shown = {name: value for name, value in each.items() if name != "passport"}
        header = each["passport"].split(".")[0]
        return shown | ({"header": header, "payload": claims_of(each["passport"])} if each["valid"] else {})

    assert [shape(each) for each in VECTORS] == [shape(each) for each in now["vectors"]]
    assert FILE["about"] == now["about"]
    for each in now["vectors"]:
        assert check(each, now["jwks"]) == (each["claims"] if each["valid"] else each["reason"])

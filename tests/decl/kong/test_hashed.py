"""The hash is what a Kong 3.9.3 told of the secret `abc`."""

import pytest

from decl.kong.hashed import is_secret_of

TOLD = "$pbkdf2-sha512$i=10000,l=32$BqafeXWneogmACqLujN1lQ$Nbvm4FQJOpfeGhRoBjcFtXRy1fApOLIZe9mUKbl1AVE"


def test_the_secret_behind_a_hash() -> None:
    assert is_secret_of("abc", TOLD)
    assert not is_secret_of("abd", TOLD)


@pytest.mark.parametrize(
    "told",
    ["", "abc", "$argon2id$v=19$m=4096,t=1,p=1$c2FsdA$aGFzaA", TOLD.replace("sha512", "sha9"), TOLD + "!"],
)
def test_what_is_no_hash_that_is_known(told: str) -> None:
    assert not is_secret_of("abc", told)

import pytest

from decl.url import is_ip_literal, parse_url, target_text


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("http://a", ("http", "a", 80, None)),
        ("https://a/", ("https", "a", 443, "/")),
        ("http://A.example:8080/base?x=1", ("http", "A.example", 8080, "/base")),
        ("https://[::1]:8443/x", ("https", "[::1]", 8443, "/x")),
        ("grpcs://g", ("grpcs", "g", 443, None)),
        ("http://u:p@h:1/x", ("http", "h", 1, "/x")),
    ],
)
def test_parse_url(text: str, parts: tuple[object, ...]) -> None:
    assert tuple(parse_url(text)) == parts


@pytest.mark.parametrize("text", ["http://a:99999", "http://a:b", "http://:80", "http://[::1"])
def test_wrong_urls(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_url(text)


@pytest.mark.parametrize(
    ("host", "literal", "target"),
    [
        ("127.0.0.1", True, "127.0.0.1:80"),
        ("::1", True, "[::1]:80"),
        ("[::1]", True, "[::1]:80"),
        ("127.0.0.1.example", False, "127.0.0.1.example:80"),
        ("a", False, "a:80"),
    ],
)
def test_hosts(host: str, literal: bool, target: str) -> None:
    assert is_ip_literal(host) is literal
    assert target_text(host, 80) == target

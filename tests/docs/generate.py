"""Write the parts of the documentation that are made of the code (`make generated`)."""

from __future__ import annotations

from tests.docs import cli_reference, options

if __name__ == "__main__":
    cli_reference.PAGE.parent.mkdir(exist_ok=True)
    cli_reference.PAGE.write_text(cli_reference.page(), encoding="utf-8")
    for path, text in options.pages().items():
        path.write_text(text, encoding="utf-8")

"""What the stock server is measured with: three PDK calls and nothing else.

Reads the token and the address, sets one header on the request to the service. It verifies nothing, so the
comparison leaves out all that kgate does besides.
"""

Schema = [{"label": {"type": "string"}}]
version = "0.1.0"
priority = 1904


class Plugin:
    def __init__(self, config):
        self.label = config.get("label", "")

    def access(self, kong):
        token = kong.request.get_header("authorization")
        ip = kong.client.get_forwarded_ip()
        kong.service.request.set_header("X-Seen", f"{self.label} {ip} {len(token)}")

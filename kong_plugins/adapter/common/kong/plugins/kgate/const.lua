--- Names that the adapter's modules share. The Python side has the same ones (docs/protocol.md).
return {
  PROTOCOL = 1,
  VERSION = "0.1.0",
  -- the gate plugins in the order in which they run; their priorities are 1905 to 1902
  GATE = { "abuse-guard", "passport", "canary-router", "static-fallback" },
  PROTECTED_TAG = "kgate-protected",
  TENANT_TAG = "kgate-tenant:",
  SOCKET = "/run/kgate/express.sock",
  HEADERS = {
    "authorization", "cookie", "user-agent", "accept", "content-type", "origin",
    "access-control-request-method", "traceparent",
  },
  STRIP = { "X-Passport", "Txn-Token", "X-Canary", "X-Abuse-Score" },
}

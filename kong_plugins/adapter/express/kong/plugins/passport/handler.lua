local chain = require "kong.plugins.kgate.chain"
local Plugin = { PRIORITY = 1904, VERSION = "0.1.0", kgate_express = true }
chain.gate(Plugin)
return Plugin

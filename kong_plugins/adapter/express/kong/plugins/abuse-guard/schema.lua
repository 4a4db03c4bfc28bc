return require("kong.plugins.kgate.plugin_info").schema("abuse-guard")

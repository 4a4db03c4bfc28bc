return require("kong.plugins.kgate.plugin_info").schema("static-fallback")

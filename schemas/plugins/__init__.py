"""JSON Schemas of plugin configs, one file a plugin."""

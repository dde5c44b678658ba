"""The demo's world: bundled scenes, a web server that misbehaves as planted, an input, a closing table."""

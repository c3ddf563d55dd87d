"""Destinations: tools that events go on to. base.py is the port, every other file a kind of tool."""

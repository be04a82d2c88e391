"""The version of the toolkit, written into every file it makes."""

VERSION = "0.1.0"

"""The one place that names the version: packaging and every command line read it here."""

VERSION = "1.0.0"

"""Tests of the manifest: what the user wrote is understood, or refused at its place."""

"""Buys AI video in bulk: a manifest of prompts in, clips on disk out, nothing paid twice."""

"""Versions of models behind HTTP: the Open Inference Protocol, batching, shadow and canary."""

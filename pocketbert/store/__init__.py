"""Run folders, their manifests, and the cache."""

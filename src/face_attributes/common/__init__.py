"""Shared modules: errors, files, progress, paths and the attributes of CelebA."""

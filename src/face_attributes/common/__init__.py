"""What every package here uses: errors, files, progress, paths and the attributes of CelebA."""

"""The loader that yields only the samples worth training on."""

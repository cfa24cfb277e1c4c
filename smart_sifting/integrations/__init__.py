"""Sifting inside other training loops."""

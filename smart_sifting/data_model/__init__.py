"""What a batch of samples is to the sifting loader."""

"""How strongly, from when on and against which history samples are sifted."""

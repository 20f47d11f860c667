"""The codec against h11 and llhttp on mutated messages: what differs, and who is the stricter."""

"""What tests share: raw origins and clients, processes, worlds."""

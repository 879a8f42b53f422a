"""What travels between clients and servers: the only thing that the two share."""

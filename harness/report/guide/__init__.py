"""What helps to decide: needs, known properties, rules of thumb."""

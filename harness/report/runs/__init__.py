"""Many runs: what each found, and a cell over them."""

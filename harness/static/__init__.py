"""Static cost: what the compiler says of each kernel that the project launches, without a GPU and without noise."""

"""Power cap and performance level: what the cards allow, what they have, what they shall have."""

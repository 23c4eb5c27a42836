"""The artifact mirror: one docroot with the upstreams' layouts, served by nginx on the lab's network."""

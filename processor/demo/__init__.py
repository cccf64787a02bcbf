"""The embedded world: a real broker, a simulated Axle, traffic and a charger service that checks us."""

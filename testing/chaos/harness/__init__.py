"""What every fault needs: the server, an origin, a load that checks each answer, and a stage that brings them together."""

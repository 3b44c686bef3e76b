"""Real model servers, started by the tests where their environments exist (`make kserve`)."""

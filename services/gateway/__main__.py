"""Runs the gateway."""

from services.gateway.config import GatewayConfig
from services.gateway.wiring import assemble
from shared.service import main

if __name__ == "__main__":
    main("gateway", GatewayConfig, assemble)

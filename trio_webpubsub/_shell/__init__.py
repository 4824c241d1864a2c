"""What every shell around the protocol core needs: time, random bytes, connecting, and bytes turned into frames."""

"""What CertRelay does with a certificate, from the request to the revocation. `operations` orders every effect."""

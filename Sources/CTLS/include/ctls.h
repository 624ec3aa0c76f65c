// TLS over sockets that do not block, with OpenSSL's libssl; and names to addresses. Only what the HTTP room needs of both.
// No OpenSSL type is seen here: Swift's importer then need not read OpenSSL's headers.
#pragma once
#include <stddef.h>
#include <sys/types.h>

typedef struct ctls_context ctls_context;
typedef struct ctls_session ctls_session;

// What a call on a session came to, beside a count of bytes.
enum {
    CTLS_END = 0,          // the other side has said that it ends
    CTLS_WANTS_READ = -1,  // wait until the socket can be read, then the same call again
    CTLS_WANTS_WRITE = -2, // likewise written
    CTLS_FAULT = -3,       // the session cannot go on; ctls_session_error says why
    CTLS_CUT = -4,         // the connection ended without the other side's word
};

// Contexts. On failure NULL, or -1, with the reason in `error`.
ctls_context *ctls_client_context(int verify, char *error, size_t size);
ctls_context *ctls_server_context(const char *certificate, const char *key, char *error, size_t size);
// PEM file with more authorities that may sign the other side's certificate.
int ctls_add_authorities(ctls_context *context, const char *path, char *error, size_t size);
// PEM files: own certificate with its chain, and its key.
int ctls_use_certificate(ctls_context *context, const char *certificate, const char *key, char *error, size_t size);
void ctls_context_free(ctls_context *context);

// Sessions. The socket stays the caller's. `host` is whom the certificate must name (NULL for a server); `address` says that it
// is an address and not a name.
ctls_session *ctls_session_new(ctls_context *context, int socket, const char *host, int address);
int ctls_handshake(ctls_session *session);
ssize_t ctls_read(ctls_session *session, void *buffer, size_t count);
ssize_t ctls_write(ctls_session *session, const void *bytes, size_t count);
// Bytes that were received and deciphered and not read yet.
size_t ctls_pending(ctls_session *session);
// Says that nothing more will be sent.
int ctls_end(ctls_session *session);
void ctls_session_error(ctls_session *session, char *error, size_t size);
void ctls_session_free(ctls_session *session);

// Addresses of a name in the order in which they should be tried (getaddrinfo(3)): `addresses` gets sockaddr structures of
// 128 bytes each, `lengths` their sizes. Answers how many, or -1 with the reason.
int ctls_resolve(const char *host, const char *port, unsigned char *addresses, unsigned *lengths, int limit, char *error, size_t size);

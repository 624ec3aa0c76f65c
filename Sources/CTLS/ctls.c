#define _GNU_SOURCE
#include "ctls.h"

#include <errno.h>
#include <netdb.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

// A BIO of our own on the socket: OpenSSL's writes with write(2), which raises SIGPIPE in processes that did not ignore it.

static int socket_write(BIO *bio, const char *bytes, int count) {
    BIO_clear_retry_flags(bio);
    ssize_t done = send((int)(intptr_t)BIO_get_data(bio), bytes, (size_t)count, MSG_NOSIGNAL);
    if (done < 0 && (errno == EAGAIN || errno == EINTR)) BIO_set_retry_write(bio);
    return (int)done;
}

static int socket_read(BIO *bio, char *buffer, int count) {
    BIO_clear_retry_flags(bio);
    ssize_t done = recv((int)(intptr_t)BIO_get_data(bio), buffer, (size_t)count, 0);
    if (done < 0 && (errno == EAGAIN || errno == EINTR)) BIO_set_retry_read(bio);
    if (done == 0) BIO_set_flags(bio, BIO_FLAGS_IN_EOF);
    return (int)done;
}

static long socket_control(BIO *bio, int command, long number, void *pointer) {
    (void)number;
    (void)pointer;
    switch (command) {
    case BIO_CTRL_FLUSH: return 1;
    case BIO_CTRL_EOF: return BIO_test_flags(bio, BIO_FLAGS_IN_EOF) != 0;
    default: return 0;
    }
}

static int socket_create(BIO *bio) {
    BIO_set_init(bio, 1);
    return 1;
}

static BIO_METHOD *method;
static CRYPTO_ONCE once = CRYPTO_ONCE_STATIC_INIT;

static void make_method(void) {
    BIO_METHOD *made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK | BIO_TYPE_DESCRIPTOR, "socket without signals");
    if (!made) return;
    BIO_meth_set_write(made, socket_write);
    BIO_meth_set_read(made, socket_read);
    BIO_meth_set_ctrl(made, socket_control);
    BIO_meth_set_create(made, socket_create);
    method = made;
}

// Contexts

static void explain(char *error, size_t size, const char *words) {
    unsigned long code = ERR_peek_last_error();
    const char *reason = code ? ERR_reason_error_string(code) : NULL;
    if (!reason && code && ERR_SYSTEM_ERROR(code)) reason = strerror(ERR_GET_REASON(code));
    snprintf(error, size, "%s%s%s", words, reason ? ": " : "", reason ? reason : "");
    ERR_clear_error();
}

static SSL_CTX *make_context(const SSL_METHOD *kind, char *error, size_t size) {
    ERR_clear_error();
    CRYPTO_THREAD_run_once(&once, make_method);
    SSL_CTX *context = method ? SSL_CTX_new(kind) : NULL;
    if (!context) {
        explain(error, size, "no memory for TLS");
        return NULL;
    }
    SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
    SSL_CTX_set_options(context, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
    return context;
}

ctls_context *ctls_client_context(int verify, char *error, size_t size) {
    SSL_CTX *context = make_context(TLS_client_method(), error, size);
    if (!context) return NULL;
    SSL_CTX_set_verify(context, verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, NULL);
    if (verify) SSL_CTX_set_default_verify_paths(context);
    static const unsigned char protocol[] = "\x08http/1.1";
    SSL_CTX_set_alpn_protos(context, protocol, sizeof(protocol) - 1);
    return (ctls_context *)context;
}

static int choose_protocol(SSL *session, const unsigned char **out, unsigned char *length, const unsigned char *in, unsigned count, void *argument) {
    (void)session;
    (void)argument;
    for (unsigned at = 0; at < count; at += in[at] + 1u) {
        if (in[at] != 8 || at + 9 > count || memcmp(in + at + 1, "http/1.1", 8) != 0) continue;
        *out = in + at + 1;
        *length = 8;
        return SSL_TLSEXT_ERR_OK;
    }
    return SSL_TLSEXT_ERR_NOACK;
}

ctls_context *ctls_server_context(const char *certificate, const char *key, char *error, size_t size) {
    SSL_CTX *context = make_context(TLS_server_method(), error, size);
    if (!context) return NULL;
    SSL_CTX_set_alpn_select_cb(context, choose_protocol, NULL);
    if (ctls_use_certificate((ctls_context *)context, certificate, key, error, size) < 0) {
        SSL_CTX_free(context);
        return NULL;
    }
    return (ctls_context *)context;
}

int ctls_add_authorities(ctls_context *context, const char *path, char *error, size_t size) {
    ERR_clear_error();
    if (SSL_CTX_load_verify_locations((SSL_CTX *)context, path, NULL) == 1) return 0;
    explain(error, size, "no certificates could be read");
    return -1;
}

int ctls_use_certificate(ctls_context *context, const char *certificate, const char *key, char *error, size_t size) {
    ERR_clear_error();
    if (SSL_CTX_use_certificate_chain_file((SSL_CTX *)context, certificate) != 1) {
        explain(error, size, "no certificate could be read");
        return -1;
    }
    if (SSL_CTX_use_PrivateKey_file((SSL_CTX *)context, key, SSL_FILETYPE_PEM) != 1) {
        explain(error, size, "no private key could be read that fits the certificate");
        return -1;
    }
    return 0;
}

void ctls_context_free(ctls_context *context) { SSL_CTX_free((SSL_CTX *)context); }

// Sessions

ctls_session *ctls_session_new(ctls_context *context, int socket, const char *host, int address) {
    ERR_clear_error();
    SSL *session = SSL_new((SSL_CTX *)context);
    if (!session) return NULL;
    BIO *bio = BIO_new(method);
    if (!bio) {
        SSL_free(session);
        return NULL;
    }
    BIO_set_data(bio, (void *)(intptr_t)socket);
    SSL_set_bio(session, bio, bio);
    if (!host) {
        SSL_set_accept_state(session);
        return (ctls_session *)session;
    }
    SSL_set_connect_state(session);
    SSL_set_hostflags(session, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    int named = address ? X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(session), host)
                        : SSL_set1_host(session, host) && SSL_set_tlsext_host_name(session, host);
    if (named) return (ctls_session *)session;
    SSL_free(session);
    return NULL;
}

static ssize_t outcome(SSL *session, int result) {
    switch (SSL_get_error(session, result)) {
    case SSL_ERROR_WANT_READ: return CTLS_WANTS_READ;
    case SSL_ERROR_WANT_WRITE: return CTLS_WANTS_WRITE;
    case SSL_ERROR_ZERO_RETURN: return CTLS_END;
    case SSL_ERROR_SYSCALL: return CTLS_CUT;
    default: return ERR_GET_REASON(ERR_peek_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING ? CTLS_CUT : CTLS_FAULT;
    }
}

int ctls_handshake(ctls_session *session) {
    ERR_clear_error();
    int result = SSL_do_handshake((SSL *)session);
    return result == 1 ? 1 : (int)outcome((SSL *)session, result);
}

ssize_t ctls_read(ctls_session *session, void *buffer, size_t count) {
    ERR_clear_error();
    size_t done = 0;
    int result = SSL_read_ex((SSL *)session, buffer, count, &done);
    return result == 1 ? (ssize_t)done : outcome((SSL *)session, result);
}

ssize_t ctls_write(ctls_session *session, const void *bytes, size_t count) {
    ERR_clear_error();
    size_t done = 0;
    int result = SSL_write_ex((SSL *)session, bytes, count, &done);
    if (result == 1) return (ssize_t)done;
    ssize_t code = outcome((SSL *)session, result);
    return code == CTLS_END ? CTLS_CUT : code;
}

size_t ctls_pending(ctls_session *session) { return (size_t)SSL_pending((SSL *)session); }

int ctls_end(ctls_session *session) {
    ERR_clear_error();
    int result = SSL_shutdown((SSL *)session);
    return result >= 0 ? 1 : (int)outcome((SSL *)session, result);
}

void ctls_session_error(ctls_session *session, char *error, size_t size) {
    long verified = SSL_get_verify_result((SSL *)session);
    if (verified != X509_V_OK) {
        snprintf(error, size, "the certificate is not trusted: %s", X509_verify_cert_error_string(verified));
        ERR_clear_error();
        return;
    }
    unsigned long code = ERR_peek_error();
    const char *reason = code ? ERR_reason_error_string(code) : NULL;
    snprintf(error, size, "%s", reason ? reason : "protocol error");
    ERR_clear_error();
}

void ctls_session_free(ctls_session *session) { SSL_free((SSL *)session); }

// Names

int ctls_resolve(const char *host, const char *port, unsigned char *addresses, unsigned *lengths, int limit, char *error, size_t size) {
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG | AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    int code = getaddrinfo(host, port, &hints, &found);
    if (code != 0) {
        // AI_ADDRCONFIG does not count loopback: a machine without a network still reaches 127.0.0.1 and ::1
        hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
        if (getaddrinfo(host, port, &hints, &found) != 0) {
            snprintf(error, size, "%s", code == EAI_SYSTEM ? strerror(errno) : gai_strerror(code));
            return -1;
        }
    }
    int count = 0;
    for (struct addrinfo *entry = found; entry && count < limit; entry = entry->ai_next) {
        if (entry->ai_addrlen > 128) continue;
        memcpy(addresses + 128 * (size_t)count, entry->ai_addr, entry->ai_addrlen);
        lengths[count++] = entry->ai_addrlen;
    }
    freeaddrinfo(found);
    if (count > 0) return count;
    snprintf(error, size, "no address");
    return -1;
}

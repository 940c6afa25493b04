/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* GObject's classes, made while there is one thread.
 *
 * In GLib 2.74 two threads that need new classes at the same time can wait for each other for ever: one makes
 * a class, with the lock over all classes, and asks for a type that this class speaks of (SoupSession's
 * properties are of GInetSocketAddress); the other registers that type and needs the same lock to add its
 * interfaces. A center whose links made their first client while the main thread made its first address stood
 * still like that at one start of four. */
#include "http-types.h"

#include <gio/gio.h>
#include <gio/gunixconnection.h>
#include <gio/gunixsocketaddress.h>
#include <libsoup/soup.h>

static void
load_class(GType type)
{
    g_type_class_unref(g_type_class_ref(type));
}

/* Making one is what finds the types that nobody can name. */
static void
make_each(void)
{
    g_autoptr(GSocketAddress) address G_GNUC_UNUSED = g_inet_socket_address_new_from_string("127.0.0.1", 1);
    g_autoptr(GSocketAddress) path G_GNUC_UNUSED = g_unix_socket_address_new("/");
    g_autoptr(SoupSession) session G_GNUC_UNUSED = soup_session_new();
    g_autoptr(SoupServer) server G_GNUC_UNUSED = soup_server_new(NULL, NULL);
    g_autoptr(SoupMessage) message G_GNUC_UNUSED = soup_message_new("GET", "http://127.0.0.1/");
    g_autoptr(GSocketService) service G_GNUC_UNUSED = g_socket_service_new();
    g_autoptr(GSocketClient) client G_GNUC_UNUSED = g_socket_client_new();
    g_autoptr(GInputStream) bytes = g_memory_input_stream_new();
    g_autoptr(GInputStream) buffered G_GNUC_UNUSED = g_buffered_input_stream_new(bytes);
    g_autoptr(GResolver) resolver G_GNUC_UNUSED = g_resolver_get_default();
}

void
gw_http_load_types(void)
{
    GTlsBackend *tls = g_tls_backend_get_default();
    const GType types[] = {
        G_TYPE_INET_ADDRESS,
        G_TYPE_INET_SOCKET_ADDRESS,
        G_TYPE_UNIX_SOCKET_ADDRESS,
        G_TYPE_NETWORK_ADDRESS,
        G_TYPE_SOCKET,
        G_TYPE_TCP_CONNECTION,
        G_TYPE_UNIX_CONNECTION,
        G_TYPE_CANCELLABLE,
        G_TYPE_TASK,
        SOUP_TYPE_SESSION,
        SOUP_TYPE_SERVER,
        SOUP_TYPE_MESSAGE,
        SOUP_TYPE_SERVER_MESSAGE,
    };
    for (gsize i = 0; i < G_N_ELEMENTS(types); i++)
        load_class(types[i]);
    if (g_tls_backend_supports_tls(tls)) {
        load_class(g_tls_backend_get_certificate_type(tls));
        load_class(g_tls_backend_get_client_connection_type(tls));
        load_class(g_tls_backend_get_server_connection_type(tls));
        load_class(g_tls_backend_get_file_database_type(tls));
    }
    make_each();
}

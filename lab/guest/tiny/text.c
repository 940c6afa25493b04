/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Words in and out of the tiny guest: what the C library would do. */
#include "text.h"

#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include "machine.h"

#define LONGEST_NUMBER 20

/* What compilers call by themselves, and what verified-page.c needs. */
void *
memcpy(void *restrict to, const void *restrict from, size_t size)
{
    void *result = to;
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(size) : : "memory");
    return result;
}

void *
memset(void *to, int byte, size_t size)
{
    void *result = to;
    __asm__ volatile("rep stosb" : "+D"(to), "+c"(size) : "a"(byte) : "memory");
    return result;
}

int
strcmp(const char *a, const char *b)
{
    while (*a && *a == *b) {
        a++;
        b++;
    }
    return (unsigned char)*a - (unsigned char)*b;
}

static void
put(const char *text)
{
    while (*text) {
        gw_machine_send(*text++);
    }
}

static void
put_number(uint64_t number, unsigned base)
{
    char digits[LONGEST_NUMBER + 1];
    char *at = digits + LONGEST_NUMBER;
    *at = '\0';
    do {
        *--at = "0123456789abcdef"[number % base];
        number /= base;
    } while (number);
    put(at);
}

void
gw_text_format(const char *format, ...)
{
    va_list values;
    va_start(values, format);
    for (const char *at = format; *at; at++) {
        if (*at != '%') {
            gw_machine_send(*at);
            continue;
        }
        at++;
        if (*at == 's') {
            put(va_arg(values, const char *));
        } else {
            put_number(va_arg(values, uint64_t), *at == 'x' ? 16 : 10);
        }
    }
    va_end(values);
}

static bool
is_one_of(char character, const char *set)
{
    while (*set && *set != character) {
        set++;
    }
    return *set == character; /* the end of the words is one, too */
}

const char *
gw_text_find(const char *words, const char *name, const char *separators)
{
    for (const char *at = words; at && *at;) {
        const char *left = name;
        const char *found = at;
        while (*left && *found == *left) {
            found++;
            left++;
        }
        if (!*left) {
            return found;
        }
        while (!is_one_of(*at, separators)) {
            at++;
        }
        at += *at != '\0';
    }
    return NULL;
}

uint64_t
gw_text_size(const char *text, uint64_t otherwise)
{
    if (!text || *text < '0' || *text > '9') {
        return otherwise;
    }
    uint64_t number = 0;
    for (; *text >= '0' && *text <= '9'; text++) {
        number = number * 10 + (uint64_t)(*text - '0');
    }
    unsigned shift = *text == 'M' ? 20 : *text == 'K' ? 10 : 0;
    return number << shift;
}

/* What is read in one pass is what jansson reads, to the last odd form of JSON, and what clients send
 * is read in one pass. */
#include "unit.h"

#include "../fuzz/same_reading.h"

/* From memory of exactly the text's size. */
static bool flatly(const char *text)
{
    size_t len = strlen(text);
    char *copy = malloc(len ? len : 1);
    ck_assert_ptr_nonnull(copy);
    memcpy(copy, text, len);
    bool result = read_twice((struct chi_span){copy, len});
    free(copy);
    return result;
}

/* What load is made of: none of it may fall back to building a tree. */
static const char *const PLAIN[] = {
    "{}",
    " \t\r\n{ \t\r\n} \t\r\n",
    "{\"content\":\"hi\"}",
    "{\"type\":\"post\",\"room\":\"bench-0\",\"content\":\"cb1:1:2 and some text behind it, long\","
    "\"cid\":\"00-1-2\",\"ref\":17}",
    "{\"content\":\"\",\"now\":true,\"on\":false,\"x\":null,\"last\":0,\"after\":123456789012345}",
    "{\"content\":\"caf\303\251 \342\234\223 \360\237\230\200 \177\"}",
    "{\"content\":\"\\\" \\\\ \\/ \\b\\f\\n\\r\\t \\u0001\\u00e9\\u20AC\\uD83D\\ude00\\uffff\"}",
    "{\"data\":{}}",
    "{\"data\":{ \"a\" : [1,-2.5,\"x\\n\",true,false,null,[],{}] , \"b\":{\"c\":{\"d\":0.1}}},"
    "\"content\":\"x\"}",
    "{\"data\":{\"a\":\"\177\",\"b\":{\"a\":[[[[[1]]]]]}}}",
    "{\"\":1}",
};
#define PLAIN_COUNT ((int)(sizeof(PLAIN) / sizeof(PLAIN[0])))

START_TEST(what_clients_send_needs_no_tree)
{
    ck_assert_msg(flatly(PLAIN[_i]), "%s", PLAIN[_i]);
}
END_TEST

/* Wrong, or odd enough to be left to jansson. */
/* An object of 17 members between these. */
#define MANY(before, behind)                                                                       \
    before "{\"a\":0,\"b\":0,\"c\":0,\"d\":0,\"e\":0,\"f\":0,\"g\":0,\"h\":0,\"i\":0,"             \
           "\"j\":0,\"k\":0,\"l\":0,\"m\":0,\"n\":0,\"o\":0,\"p\":0,\"q\":0" behind
static const char *const LEFT[] = {
    "",
    " ",
    "{",
    "}",
    "[]",
    "[1]",
    "1",
    "\"x\"",
    "null",
    "true",
    "{}x",
    "{}{}",
    "{},",
    "{} \v",
    "\357\273\277{}",
    "{\"a\"}",
    "{\"a\":}",
    "{\"a\":1,}",
    "{,\"a\":1}",
    "{\"a\":1 \"b\":2}",
    "{\"a\":1;\"b\":2}",
    "{'a':1}",
    "{a:1}",
    "{\"a\":1",
    "{\"a\":\"",
    "{\"a\":\"x",
    "{\"a\":\"x\\",
    "{\"a\":\"x\\\"}",
    "{\"a",
    "{\"a\"",
    "{\"a\":",
    "{\"a\":1,",
    "{\"a\":t",
    "{\"a\":truex}",
    "{\"a\":tru}",
    "{\"a\":nul",
    "{\"a\":True}",
    "{\"a\":nullnull}",
    /* no key may come twice, however it is written */
    "{\"a\":1,\"a\":1}",
    "{\"a\":1,\"b\":2,\"a\":3}",
    "{\"a\":1,\"\\u0061\":2}",
    "{\"\\u0061\":1}",
    "{\"data\":{\"a\":1,\"a\":2}}",
    "{\"data\":{\"a\":1,\"\\u0061\":2}}",
    "{\"\":1,\"\":2}",
    "{\"data\":[{\"a\":1,\"a\":2}]}",
    /* texts */
    "{\"a\":\"\\u0000\"}",
    "{\"\\u0000\":1}",
    "{\"a\":\"\\ud800\"}",
    "{\"a\":\"\\udc00\"}",
    "{\"a\":\"\\ud800x\"}",
    "{\"a\":\"\\ud800\\u0041\"}",
    "{\"a\":\"\\ud800\\ud800\"}",
    "{\"a\":\"\\udc00\\ud800\"}",
    "{\"a\":\"\\u12\"}",
    "{\"a\":\"\\u12g4\"}",
    "{\"a\":\"\\u-123\"}",
    "{\"a\":\"\\x\"}",
    "{\"a\":\"\\'\"}",
    "{\"a\":\"\\U0041\"}",
    "{\"a\":\"\n\"}",
    "{\"a\":\"\t\"}",
    "{\"a\":\"\001\"}",
    "{\"a\":\"\\\n\"}",
    "{\"a\":\"\037\"}",
    "{\"data\":{\"a\":\"\\ud800\"}}",
    "{\"data\":{\"a\":\"\n\"}}",
    "{\"data\":{\"\\u0000\":1}}",
    /* numbers */
    "{\"a\":-0}",
    "{\"a\":-1}",
    "{\"a\":01}",
    "{\"a\":00}",
    "{\"a\":+1}",
    "{\"a\":.5}",
    "{\"a\":1.}",
    "{\"a\":1.5}",
    "{\"a\":1e5}",
    "{\"a\":1e}",
    "{\"a\":1e999}",
    "{\"a\":-}",
    "{\"a\":1x}",
    "{\"a\":0x10}",
    "{\"a\":1234567890123456}",
    "{\"a\":99999999999999999999999}",
    "{\"a\":NaN}",
    "{\"a\":Infinity}",
    "{\"data\":{\"a\":1e5}}",
    "{\"data\":{\"a\":1e999}}",
    "{\"data\":{\"a\":01}}",
    "{\"data\":{\"a\":-}}",
    "{\"data\":{\"a\":1.}}",
    "{\"data\":{\"a\":-.5}}",
    "{\"data\":{\"a\":-01.5}}",
    "{\"data\":{\"a\":1.1234567890123456}}",
    /* lists */
    "{\"a\":[]}",
    "{\"a\":[1]}",
    "{\"data\":{\"a\":[1,]}}",
    "{\"data\":{\"a\":[,1]}}",
    "{\"data\":{\"a\":[1 2]}}",
    "{\"data\":{\"a\":[1}}",
    "{\"data\":{\"a\":[1]",
    "{\"data\":{\"a\":{]}}",
    "{\"data\":{\"a\":[}}}",
    /* more than it counts */
    "{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":1}}}}}}}}}}",
    MANY("", "}"),
    MANY("{\"data\":", "}}"),
};
#define LEFT_COUNT ((int)(sizeof(LEFT) / sizeof(LEFT[0])))

START_TEST(what_is_odd_is_left_to_jansson)
{
    ck_assert_msg(!flatly(LEFT[_i]), "%s", LEFT[_i]);
}
END_TEST

/* Every text that is read in one pass, cut and changed at every place. */
START_TEST(no_change_of_one_byte_is_read_in_two_ways)
{
    static const char bytes[] = "\"\\{}[],: \n\0019u0dDeE.-tn\177\303x/";
    char text[256];
    for (size_t i = 0; i < strlen(PLAIN[_i]); i++) {
        for (size_t b = 0; b < sizeof(bytes); b++) {
            size_t len = strlen(PLAIN[_i]);
            memcpy(text, PLAIN[_i], len);
            text[i] = bytes[b];
            if (chi_utf8_valid(text, len))
                read_twice((struct chi_span){text, len});
            if (chi_utf8_valid(text, i))
                read_twice((struct chi_span){text, i});
        }
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("flat");
    TCase *tests = tcase_create("flat");
    tcase_add_loop_test(tests, what_clients_send_needs_no_tree, 0, PLAIN_COUNT);
    tcase_add_loop_test(tests, what_is_odd_is_left_to_jansson, 0, LEFT_COUNT);
    tcase_add_loop_test(tests, no_change_of_one_byte_is_read_in_two_ways, 0, PLAIN_COUNT);
    suite_add_tcase(suite, tests);
    return unit_run(suite);
}

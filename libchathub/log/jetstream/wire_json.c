#include "log/jetstream/js.h"
